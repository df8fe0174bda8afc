"""HTTP, time and people: the service floor and the command line."""
