"""How many searches a second one core answers, and what each of them costs where."""
