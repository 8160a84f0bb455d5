"""What a config file says; reading it prepares nothing."""
