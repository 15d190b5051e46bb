"""What people write to the bot and what it answers: subscribers and the inbox."""
