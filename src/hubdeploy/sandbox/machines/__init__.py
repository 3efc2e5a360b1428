"""What an instance of the embedded AWS really is: a container, or an object that plays one."""
