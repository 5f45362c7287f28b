"""Decide whether a zip is the whole Series that the source describes, and which images are good.

The rules for accepting a zip belong here, and writing a whole zip from an incomplete one. Fetching
a zip, and what becomes of one that is refused, is in `images.download`.

NBIA turns its own failures into valid but shorter zips with status 200, so a zip that opens with
correct CRCs proves nothing. The proof is `md5hashes.csv`, which NBIA writes last, and the image
count and byte sum from `getSeries`. Limits are checked before anything is inflated.

    directory   the zip format, strictly: what a zip claims, and that it hides nothing
    inflate     decompress a member in bounded memory: its MD5 and its first bytes
    rules       accept and inspect a zip
    completion  pack a whole zip from an incomplete one and single images
"""
