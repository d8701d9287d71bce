package main

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestAccidentIsTheTestOfMannAndWhitney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high []float64
		want      float64 // by the tables
	}{
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 1.0 / 252},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 1.0 / 20},
		{[]float64{1, 2, 4}, []float64{3, 5, 6}, 2.0 / 20},
		{[]float64{4, 5, 6}, []float64{1, 2, 3}, 1},
	} {
		if got := accident(c.low, c.high); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v below %v: %v, want %v", c.low, c.high, got, c.want)
		}
	}
	if got := accident([]float64{1, 1, 1}, []float64{1, 1, 1}); got < 0.3 {
		t.Errorf("the same values: %v", got)
	}
}

func TestCheckTellsALossFromNoise(t *testing.T) {
	t.Parallel()
	base := Baseline{Ratios: map[string][]float64{
		"fnhost msg_per_s": {0.70, 0.71, 0.72, 0.69, 0.70}, "fnhost cpu": {2.0, 2.1, 2.0, 1.9, 2.0},
	}}
	for _, c := range []struct {
		name       string
		speed, cpu []float64
		worse      string
	}{
		{"the same", []float64{0.71, 0.70, 0.69, 0.70, 0.72}, []float64{2.0, 2.0, 2.1, 1.9, 2.0}, ""},
		{"better", []float64{0.9, 0.91, 0.92, 0.9, 0.9}, []float64{1.0, 1.1, 1.0, 1.0, 1.0}, ""},
		{"slower", []float64{0.5, 0.51, 0.52, 0.5, 0.49}, []float64{2.0, 2.0, 2.1, 1.9, 2.0}, "fnhost msg_per_s"},
		{"dearer", []float64{0.71, 0.70, 0.69, 0.70, 0.72}, []float64{2.5, 2.6, 2.5, 2.4, 2.5}, "fnhost cpu"},
		{"within the tolerance", []float64{0.66, 0.66, 0.67, 0.65, 0.66}, []float64{2.1, 2.1, 2.2, 2.1, 2.1}, ""},
		{"too wide a spread to tell", []float64{0.5, 0.9, 0.55, 0.8, 0.6}, []float64{2.0, 2.0, 2.1, 1.9, 2.0}, ""},
	} {
		var out bytes.Buffer
		err := base.compare(&out, Baseline{Ratios: map[string][]float64{"fnhost msg_per_s": c.speed, "fnhost cpu": c.cpu, "new cpu": {1}}}, 0.1)
		if errors.Is(err, errSlower) != (c.worse != "") || err != nil && !strings.HasSuffix(err.Error(), ": "+c.worse) {
			t.Errorf("%s: got %v, want what is worse to be %q:\n%s", c.name, err, c.worse, out.String())
		}
		if !strings.Contains(out.String(), "not in the baseline") {
			t.Errorf("%s: what cannot be compared is not told:\n%s", c.name, out.String())
		}
	}
}
