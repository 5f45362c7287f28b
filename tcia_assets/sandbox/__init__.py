"""A local server on loopback that implements TCIA's API.

server               start and stop it
app                  paths to handlers
control_api          control it from another process
request_log          what it received
faults               what goes wrong on request; row_faults: in rows

archive              its Series, and changes to them
database             the catalogue, and the rows changed since
series_rows          one row for each real Series of TCIA
series_index         single Series by UID

endpoints            what a server does that its clients need not know
api_request          a request, checked
authentication       tokens and API keys
date_parameters      the parameters `fromDate` and `Date`
handlers             replies with rows; queries: their SQL
collection_handlers  replies about whole Collections
image_handlers       replies with images
series_zip           the zip of a Series; zip_stream: its bytes
phantom/             the DICOM objects in it
idc/                 the Imaging Data Commons: index releases and buckets
reply                replies and refusals
reply_formats        JSON, CSV, XML and HTML; markup_encoder: their texts
transport            a reply onto the connection
"""
