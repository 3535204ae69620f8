"""Where heads of attention look, under any kernel."""
