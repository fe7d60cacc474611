"""Portraits over HTTP: jobs in a queue, drawn in batches, kept for whoever asked."""
