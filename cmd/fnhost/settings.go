package main

import (
	"flag"
	"maps"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/host/config"
)

// settingFlag is the flag of a setting. It tells of its variable in the help but
// does not read it: package config does, and knows the origin of each value.
type settingFlag struct{ *cli.StringFlag }

// Apply declares the flag without its variable.
func (f settingFlag) Apply(set *flag.FlagSet) error {
	plain := *f.StringFlag
	plain.EnvVars = nil
	return plain.Apply(set)
}

// settingFlags gives a flag for each setting that may have one.
func settingFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range config.Settings {
		if s.Flag == "" {
			continue
		}
		f := &cli.StringFlag{
			Name: s.Flag, EnvVars: []string{s.Name}, Usage: s.Help, Category: "Settings:",
			DefaultText: strings.Trim(s.Default, "()"),
		}
		if s.Name == "FNHOST_OUTPUT" {
			f.Aliases, f.Category = []string{"o"}, ""
		}
		flags = append(flags, settingFlag{f})
	}
	return flags
}

// givenSettings are the settings given by flag, and those of more, by name.
func givenSettings(c *cli.Context, more map[string]string) map[string]string {
	given := maps.Clone(more)
	if given == nil {
		given = map[string]string{}
	}
	for _, s := range config.Settings {
		if s.Flag != "" && c.IsSet(s.Flag) {
			given[s.Name] = c.String(s.Flag)
		}
	}
	return given
}
