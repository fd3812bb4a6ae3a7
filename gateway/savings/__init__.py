"""What each answer would have cost without Forebay, and which part of it saved how much of that."""
