// syncropy(1): the operator's command.


#include <charconv>

#include "cli/exit.hpp"
#include "cli/parse.hpp"
#include "cli/verbs.hpp"
#include "sd/journal.hpp"
#include "sd/message-ids.hpp"
#include "util/escape.hpp"
#include "util/signals.hpp"
#include "util/version.hpp"

namespace syncropy {
namespace {

// "5%", "0.5%" or "5".
double parse_percent(std::string_view text) {
  const std::string_view digits = text.substr(0, text.size() - (text.ends_with('%') ? 1 : 0));
  double percent = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
  if (error != std::errc() || end != digits.data() + digits.size() || !(percent >= 0.01 && percent <= 100))
    throw Error(ExitStatus::usage, "'" + escape(text) + "' is no percentage", "write --sample 5%, with a number from 0.01 to 100");
  return percent;
}

int operate(int argc, char** argv) {
  CLI::App app("Looks into what Syncropy has backed up.", "syncropy");
  app.set_version_flag("--version", std::string("syncropy ") + version);
  std::string config, what, path, query, check;
  bool json = false, recursive = false;
  app.add_option("-c,--cfg", config, "configuration: a file, or the NAME of /etc/syncropy/NAME.yaml (default: the only one there)")->type_name("FILE");
  app.require_subcommand(1);
  app.fallthrough();

  auto* init = app.add_subcommand("init", "make the repository that the configuration names");
  std::string owner;
  init->add_option("--owner", owner, "whose it becomes, for root (default: the owner of a folder that is there, else syncropy)")->type_name("USER");
  auto* list = app.add_subcommand("list", "list datasets");
  list->add_option("WHAT", what, "CLIENT or CLIENT/TIER; all without");
  list->add_flag("--json", json, "one JSON object a line");
  auto* status = app.add_subcommand("status", "show how the backups are: the newest datasets, failures, certificates, space");
  status->add_flag("--json", json, "one JSON object for each configuration and client");
  auto* ls = app.add_subcommand("ls", "list what is in a dataset");
  ls->add_option("DATASET", what, "CLIENT, CLIENT/TIER, CLIENT/TIER/NAME or CLIENT@TIME")->required();
  ls->add_option("PATH", path, "a path on the client; a folder is listed with what is in it");
  ls->add_flag("-R,--recursive", recursive, "with everything below");
  auto* restore = app.add_subcommand("restore", "give a dataset, or some of its paths, back to a client or a folder");
  RestoreArguments back;
  std::vector<std::string> words;
  restore->add_option("DATASET PATH", words, "CLIENT[/TIER[/NAME]] or CLIENT@TIME, then paths on the client (none: everything); with --from, paths alone");
  restore->add_option("--from", back.from, "a dataset's folder, wherever it lies, instead of DATASET")->type_name("FOLDER");
  restore->add_option("--to", back.to, "the client to restore to (default: the one it came from)")->type_name("CLIENT");
  restore->add_option("--target", back.target, "a folder of that client that stands for the root (default: /, the original place)")->type_name("FOLDER");
  restore->add_option("--local", back.local, "a folder of this machine that stands for the root, made where it is missing")->type_name("FOLDER");
  restore->add_option("--existing", back.existing, "where something else is there: fail, before anything is touched (default), skip, replace, newer")
      ->type_name("RULE")->check(CLI::IsMember({"fail", "skip", "replace", "newer"}));
  restore->add_flag("--delete", back.remove_others, "remove what is not in the dataset from the folders that are restored");
  restore->add_flag("-n,--dry-run", back.dry_run, "compare, say what would be done, touch nothing");
  restore->add_option("--include", back.includes, "restore only what matches, or lies in what matches; may be repeated")->type_name("PATTERN")->allow_extra_args(false);
  restore->add_option("--exclude", back.excludes, "leave out what matches, with all in it; may be repeated")->type_name("PATTERN")->allow_extra_args(false);
  restore->add_option("--map-owner", back.map_owner, "give what belonged to OLD to NEW, names or numbers; may be repeated")->type_name("OLD:NEW")->allow_extra_args(false);
  restore->add_option("--map-group", back.map_group, "the same for groups")->type_name("OLD:NEW")->allow_extra_args(false);
  restore->add_flag("--numeric", back.numeric, "owners by number, whatever the numbers are called there");
  restore->add_flag("--json", back.json, "one JSON object an entry, and one for the summary");
  restore->add_flag("-v,--verbose", back.verbose, "say what became of each entry");
  auto* export_verb = app.add_subcommand("export", "write a dataset, or some of its paths, as a tar stream to standard output");
  ExportArguments sent;
  export_verb->add_option("DATASET PATH", words, "as of restore");
  export_verb->add_option("--from", sent.from, "a dataset's folder, wherever it lies, instead of DATASET")->type_name("FOLDER");
  export_verb->add_option("--include", sent.includes, "only what matches, or lies in what matches; may be repeated")->type_name("PATTERN")->allow_extra_args(false);
  export_verb->add_option("--exclude", sent.excludes, "leave out what matches, with all in it; may be repeated")->type_name("PATTERN")->allow_extra_args(false);
  export_verb->add_flag("--numeric", sent.numeric, "owners and those in ACLs by number alone");
  auto* cat = app.add_subcommand("cat", "write a file of a dataset to standard output");
  cat->add_option("DATASET PATH", words, "as of restore, but one path");
  cat->add_option("--from", sent.from, "a dataset's folder, wherever it lies, instead of DATASET")->type_name("FOLDER");
  auto* check_config = app.add_subcommand("check-config", "check a configuration and say what it means");
  check_config->add_option("FILE", check, "a file, or a NAME");
  auto* complete = app.add_subcommand("complete", "for shells: what may follow")->group("");
  complete->add_option("WORD", words, "a dataset, then paths; the last is being typed");
  auto* sql = app.add_subcommand("sql", "ask the catalog: views DATASETS, FILES, FILE_HISTORY, ACLS, XATTRS");
  sql->add_option("QUERY", query, "a SELECT statement")->required();
  auto* backup = app.add_subcommand("backup-catalog", "write a backup of the catalog, as Firebird's gbak does");
  backup->add_option("FILE", path, "replaced when the backup is whole (default: database.backup of the configuration)");
  auto* rebuild = app.add_subcommand("rebuild-catalog", "make the catalog again, from the manifests alone");
  auto* empty_trash = app.add_subcommand("empty-trash", "remove what has expired, without standing in anybody's way");
  auto* verify = app.add_subcommand("verify", "read what is stored again, and hold it against manifests and digests");
  VerifyArguments verified;
  std::string sample;
  verify->add_option("WHAT", verified.what, "CLIENT, CLIENT/TIER, CLIENT/TIER/NAME or CLIENT@TIME; all clients without");
  verify->add_option("--sample", sample, "of each client the next N percent; of 5%, twenty calls read everything")->type_name("N%");
  verify->add_flag("--idle", verified.idle, "leave the disk to everybody else");
  verify->add_flag("!--no-catalog", verified.catalog, "leave the catalog out");
  verify->add_flag("--json", verified.json, "one JSON object for each damaged path, and one for each client");
  auto* ca = app.add_subcommand("ca", "the private CA that enrolment uses")->require_subcommand(1);
  CaArguments of_ca;
  ca->add_option("--ca", of_ca.folder, "the CA's folder (default: /var/lib/syncropy-ca)")->type_name("FOLDER");
  ca->add_option("--keys", of_ca.keys, "where this server's key and certificates are (default: /etc/credstore and /etc/syncropy/keys)")->type_name("FOLDER");
  ca->add_option("--owner", of_ca.owner, "whose the server's key is, with --keys")->type_name("USER");
  auto* ca_init = ca->add_subcommand("init", "make a CA, and this server's certificate");
  ca_init->add_option("NAME", of_ca.names, "what this server is called, where clients find it first (default: this machine's full name)");
  ca_init->add_flag("--force", of_ca.force, "replace a key of this server that is there already; it is kept beside, as NAME.old");
  auto* ca_list = ca->add_subcommand("list", "list certificates and open tokens");
  ca_list->add_flag("--json", of_ca.json, "one JSON object a line");
  auto* ca_renew = ca->add_subcommand("renew", "renew this server's certificate, and the CA's own, where a third of its life is left");
  ca_renew->add_flag("--force", of_ca.force, "this server's, however long it is good for");
  auto* ca_revoke = ca->add_subcommand("revoke", "take certificates back: this server refuses them from now on");
  ca_revoke->add_option("CLIENT", of_ca.names, "a client's name, or a serial number of 'syncropy ca list'")->required();
  auto* enroll = app.add_subcommand("enroll", "make a token, with which a client gets a certificate once");
  EnrollArguments enrolled;
  enroll->add_option("CLIENT", enrolled.client, "its name, as in the configuration")->required();
  enroll->add_option("--name", enrolled.names, "one more name or address for its certificate; may be repeated")->type_name("NAME")->allow_extra_args(false);
  enroll->add_option("--server", enrolled.server, "where the client finds this server (default: its first name)")->type_name("HOST");
  enroll->add_option("--valid", enrolled.life, "how long the token is good: 90s, 15m, 1h (default), 7d")->type_name("TIME");
  enroll->add_option("--ca", of_ca.folder, "the CA's folder (default: /var/lib/syncropy-ca)")->type_name("FOLDER");
  enroll->add_flag("-q,--quiet", enrolled.quiet, "print the token alone");
  auto* serve_enrolment = app.add_subcommand("serve-enrolment", "for syncropy-enroll@.service: serve one client")->group("");
  serve_enrolment->add_option("--ca", of_ca.folder, "the CA's folder")->type_name("FOLDER");
  if (const std::optional<int> ended = parse_arguments(app, "syncropy", argc, argv)) return *ended;
  open_log("syncropy", Priority::info);
  if (*init) return static_cast<int>(verb_init(config, owner));
  if (*list) return static_cast<int>(verb_list(config, what, json));
  if (*status) return static_cast<int>(verb_status(config, json));
  if (*ls) return static_cast<int>(verb_ls(config, what, path, recursive));
  if (*restore) {
    const std::size_t first_path = back.from.empty() ? 1 : 0;
    if (words.size() < first_path) throw Error(ExitStatus::usage, "no dataset is named", "write 'syncropy restore DATASET', or --from FOLDER; 'syncropy list' shows the datasets");
    if (first_path == 1) back.dataset = words.front();
    back.paths.assign(words.begin() + static_cast<std::ptrdiff_t>(first_path), words.end());
    return static_cast<int>(verb_restore(config, back));
  }
  if (*export_verb || *cat) {
    if (sent.from.empty()) {
      if (words.empty()) throw Error(ExitStatus::usage, "no dataset is named", "write 'syncropy export DATASET' or 'syncropy cat DATASET PATH', or --from FOLDER; 'syncropy list' shows the datasets");
      sent.dataset = words.front();
      words.erase(words.begin());
    }
    sent.paths = words;
    if (*export_verb) return static_cast<int>(verb_export(config, sent));
    if (words.size() != 1) throw Error(ExitStatus::usage, "cat takes one path, not " + std::to_string(words.size()), "'syncropy export' takes several");
    return static_cast<int>(verb_cat(config, sent.dataset, words.front(), sent.from));
  }
  if (*ca_init) return static_cast<int>(verb_ca_init(of_ca));
  if (*ca_list) return static_cast<int>(verb_ca_list(of_ca));
  if (*ca_renew) return static_cast<int>(verb_ca_renew(of_ca));
  if (*ca_revoke) return static_cast<int>(verb_ca_revoke(of_ca));
  enrolled.ca_folder = of_ca.folder;
  if (*enroll) return static_cast<int>(verb_enroll(config, enrolled));
  if (*serve_enrolment) return static_cast<int>(verb_serve_enrolment(of_ca.folder));
  if (*complete) return static_cast<int>(verb_complete(config, words));
  if (*check_config) return static_cast<int>(verb_check_config(check.empty() ? config : check));
  if (*backup) return static_cast<int>(verb_backup_catalog(config, path));
  if (*empty_trash) return static_cast<int>(verb_empty_trash(config));
  if (*rebuild) return static_cast<int>(verb_rebuild_catalog(config));
  if (*verify) {
    if (!sample.empty()) verified.percent = parse_percent(sample);
    return static_cast<int>(verb_verify(config, verified));
  }
  if (*sql) return static_cast<int>(verb_sql(config, query));
  return static_cast<int>(ExitStatus::usage);
}

}  // namespace
}  // namespace syncropy

int main(int argc, char** argv) {
  return syncropy::end_with("syncropy", [&] {
    syncropy::tell_crashes_of("syncropy", "published datasets stay as they are; if it happens again, please report it");
    const syncropy::SignalWatch signals([](int) {});
    return syncropy::operate(argc, argv);
  }, syncropy::message_id::of_failure);
}
