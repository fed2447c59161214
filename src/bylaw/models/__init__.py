"""Who answers: the one syntax for models, and the models themselves."""
