"""The HTTP server: connections, the REST API and the page."""
