"""What a chapter shows: tables, figures, statistics, prose with numbers, and how its page is made."""
