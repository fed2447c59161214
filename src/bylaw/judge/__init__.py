"""Who can say what is right: judges that read a policy and score answers."""
