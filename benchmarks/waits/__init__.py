"""What a user waits for: public calls from end to end, in turn with other libraries."""
