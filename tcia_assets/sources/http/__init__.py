"""HTTP for sources: retries, timeouts, a limit on connections, and readable errors.

    transport.py     one request and its retries, over one pool of connections
    exchange.py      one request and its response
    limiter.py       how many requests run at the same time
    rate_limit.py    how many bytes a second are received
    connection.py    what a response shows of its connection
    watchdog.py      deadlines for answers and for reads of a body
    responses.py     what a status, a header or an exception of the HTTP library means
    credentials.py   authentication of requests, and redaction of secrets
    text.py          text of a body whose encoding is not certain
    scratch.py       a temporary folder for replies

Nothing here is about one server software; that is for the source that uses it.
"""
