package jsondoc

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Equal tells whether two parsed values mean the same: the order of names does
// not matter, and numbers are compared by value, exactly (1, 1.0 and 10e-1 are
// equal; two numbers that only a float64 would confuse are not).
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || canonical(a) == canonical(b))
	}
	return a == b
}

// canonical writes a number as its significant digits and an exponent. It does
// no arithmetic on the value, so 1e999999999 costs no more than 1.
func canonical(n json.Number) string {
	mantissa, power, _ := strings.Cut(strings.ToLower(string(n)), "e")
	exponent := int64(0)
	if power != "" {
		e, err := strconv.ParseInt(power, 10, 32)
		if err != nil {
			return string(n) // out of anybody's range: equal only when written alike
		}
		exponent = e
	}
	unsigned := strings.TrimPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(unsigned, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	significant := strings.TrimRight(digits, "0")
	if significant == "" {
		return "0"
	}
	exponent += int64(len(digits) - len(significant) - len(fraction))
	sign := mantissa[:len(mantissa)-len(unsigned)]
	return sign + significant + "e" + strconv.FormatInt(exponent, 10)
}
