package channel

import "slices"

// categories are the fixed list, in the order in which they are shown.
var categories = []string{"art", "beauty", "books", "business", "education", "entertainment", "family", "fashion", "finance", "food", "games",
	"government", "health", "home", "local", "music", "news", "nonprofit", "pets", "religion", "science", "services", "shopping", "sports",
	"technology", "transport", "travel", "other"}

// Categories are what a channel may be about.
func Categories() []string { return slices.Clone(categories) }

// IsCategory reports whether there is such a category.
func IsCategory(s string) bool { return slices.Contains(categories, s) }
