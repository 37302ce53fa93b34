"""At which precision each demanded expert is wanted."""
