"""The console commands: each parses its options, calls one library function and renders the result."""
