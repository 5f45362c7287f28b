"""A local server on loopback that implements TCIA's API."""
