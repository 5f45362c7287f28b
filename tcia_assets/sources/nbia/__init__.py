"""The source for servers that run the NBIA software, through its REST API.

source.py        what the seam promises, by endpoints
probe.py         checks of single Series
client.py        rows, hashes and files of an endpoint
request.py       what is sent, in the spelling of a dialect
reply_digest.py  replies that were received before
wire.py          replies into typed tables; formats.py (CSV, XML, HTML) and values.py (types)
descriptions.py  replies about Collections; html_text.py (their HTML)
date_forms.py    in which forms the dates of a reply are written
filters.py       whether rows satisfy what was sent
downloads.py     bodies into files
credentials.py   API keys and tokens
"""
