"""Ways to disguise, frame and place a request: pure, seeded functions with an inverse where there is one."""
