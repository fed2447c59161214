"""The world's second level: conditions, exceptions, precedence, stacked disguises, several turns, and a judge that errs."""
