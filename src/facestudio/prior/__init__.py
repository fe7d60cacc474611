"""The prior: words' vectors become vectors of the pictures they describe."""
