"""Text to ids and back: trained on the user's own text, exact, and safe against control tokens."""
