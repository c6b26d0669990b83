"""Streams from the network."""
