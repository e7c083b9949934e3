"""Our reader of YouTube-8M's records against other readers."""
