#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cairn::cli {

// $XDG_CONFIG_HOME/cairn/config.toml, else ~/.config/cairn/config.toml; CAIRN_CONFIG names another file, or
// none where it is empty. Empty when there is no such place.
std::string config_path();

// The environment variable that gives a flag's default: CAIRN_TOP_K of --top-k.
std::string variable_of(const CLI::Option& option);

// The config file as far as it is about `command`: each section is some command's, each key of the first part
// some flag's among `all`, each key of the command's own section one of its flags. Error invalid_argument
// names file and key.
void check_config(const CLI::App& all, const CLI::App& command);

// Gives the flags of `command` the defaults that the config file and the environment have for them, the
// environment's before the file's, [command] of the file before its first part. A command's own line still
// comes before all of them. Error invalid_argument names the file and the key, or the variable, and what is
// wrong.
void apply_defaults(CLI::App& command);

}  // namespace cairn::cli
