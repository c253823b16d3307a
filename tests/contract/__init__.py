"""The OpenAPI document, and whether the service keeps to it."""
