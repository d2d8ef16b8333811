"""What a chapter shows: tables, figures, statistics, claims, and how its page is made."""
