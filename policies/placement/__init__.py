"""Where each missed expert is computed."""
