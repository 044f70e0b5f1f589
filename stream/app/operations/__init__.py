"""Operation as a service: metrics, health, and the service manager."""
