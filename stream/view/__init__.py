"""The live page: history of every wearer, HTTP and WebSocket server, and the page's files."""
