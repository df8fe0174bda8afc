"""The doors of the service, one a file: each makes a router from what it needs."""
