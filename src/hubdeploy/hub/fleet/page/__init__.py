"""The fleet page: server-rendered HTML, one style sheet, one small script, no build step."""
