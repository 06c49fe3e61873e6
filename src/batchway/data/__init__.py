"""What ships with batchway and is read, never written: prices and token vocabularies."""
