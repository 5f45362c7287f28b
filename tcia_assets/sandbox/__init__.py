"""A local archive that speaks the real API on loopback."""
