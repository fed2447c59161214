"""Rails: what is looked for in every text that goes in or out, by name; a finding has a span, and a broken rail is never silence."""
