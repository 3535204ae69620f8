"""What the filters of anomalies measure, and how they explain what they have found."""
