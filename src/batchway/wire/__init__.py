"""JSON shapes of the fronts and how they are read and written: pure, shared by server, client and dialects."""
