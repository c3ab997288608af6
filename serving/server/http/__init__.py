"""The HTTP half: connections, REST and the page."""
