"""What somebody asks to be changed: where they point, what they write, what it is called."""
