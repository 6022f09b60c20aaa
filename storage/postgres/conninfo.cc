#include "storage/postgres/conninfo.h"

#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::storage {
namespace {

using Options = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

absl::StatusOr<Options> Parse(const std::string& conninfo) {
  char* error = nullptr;
  Options options(PQconninfoParse(conninfo.c_str(), &error), PQconninfoFree);
  if (error != nullptr) PQfreemem(error);  // It quotes what it does not understand.
  if (options == nullptr || conninfo.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        "the connection string of the catalog is none of PostgreSQL's: it is "
        "postgres://USER@HOST:PORT/DATABASE?OPTION=VALUE, with %XX for what is special, or a list "
        "of OPTION=VALUE, with '' around what has spaces");
  }
  return options;
}

// Empty if it is not said.
std::string ValueOf(const Options& options, absl::string_view keyword) {
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->keyword == keyword) return option->val == nullptr ? "" : option->val;
  }
  return "";
}

std::string ValueOrVariable(const Options& options, absl::string_view keyword,
                            const char* variable) {
  std::string value = ValueOf(options, keyword);
  const char* const from_environment = std::getenv(variable);
  return value.empty() && from_environment != nullptr ? from_environment : value;
}

bool IsOnThisMachine(absl::string_view host) {
  return host.empty() || absl::StartsWith(host, "/") || absl::StartsWith(host, "@") ||
         host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

// What tells where the server is: an address goes before its name.
std::vector<std::string> Hosts(const Options& options) {
  const std::string addresses = ValueOrVariable(options, "hostaddr", "PGHOSTADDR");
  const std::string names = ValueOrVariable(options, "host", "PGHOST");
  return absl::StrSplit(addresses.empty() ? names : addresses, ',');
}

// The n-th of a list with commas, of which a single one is for all.
std::string Nth(const std::string& list, size_t n) {
  const std::vector<std::string> parts = absl::StrSplit(list, ',');
  if (parts.size() == 1) return parts.front();
  return n < parts.size() ? parts[n] : "";
}

// What is given unless the connection string says another value.
constexpr std::pair<const char*, const char*> kDefaults[] = {
    {"fallback_application_name", "backup_service"},
    {"keepalives_idle", "1"},      // Seconds,
    {"keepalives_interval", "1"},  // seconds,
    {"keepalives_count", "2"},
    {"tcp_user_timeout", "2000"},  // and milliseconds.
};

// What nobody can mean who keeps a catalog there.
absl::Status CheckMeaning(const Options& options) {
  const std::string wanted = ValueOf(options, "target_session_attrs");
  if (!wanted.empty() && wanted != "any" && wanted != "read-write" && wanted != "primary") {
    return absl::InvalidArgumentError(
        "target_session_attrs in the connection string of the catalog must be read-write: it is "
        "written to");
  }
  const std::string replication = ValueOf(options, "replication");
  if (!replication.empty())
    return absl::InvalidArgumentError("the connection string of the catalog asks for replication");
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConninfo(const std::string& conninfo) {
  ASSIGN_OR_RETURN(const Options options, Parse(conninfo));
  return CheckMeaning(options);
}

absl::StatusOr<bool> HasPassword(const std::string& conninfo) {
  ASSIGN_OR_RETURN(const Options options, Parse(conninfo));
  return !ValueOf(options, "password").empty() || !ValueOf(options, "sslpassword").empty();
}

absl::StatusOr<std::vector<ConnectionParameters>> ParametersOf(const std::string& conninfo) {
  ASSIGN_OR_RETURN(const Options options, Parse(conninfo));
  RETURN_IF_ERROR(CheckMeaning(options));
  ConnectionParameters common;
  for (const auto& [keyword, value] : kDefaults) {
    if (ValueOf(options, keyword).empty()) common.emplace_back(keyword, value);
  }
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const absl::string_view keyword = option->keyword;
    if (option->val != nullptr && keyword != "host" && keyword != "hostaddr" && keyword != "port" &&
        keyword != "target_session_attrs")
      common.emplace_back(keyword, option->val);
  }
  common.emplace_back("target_session_attrs", "read-write");
  const std::string names = ValueOrVariable(options, "host", "PGHOST");
  const std::string addresses = ValueOrVariable(options, "hostaddr", "PGHOSTADDR");
  const std::string ports = ValueOf(options, "port");
  const bool says_ssl = !ValueOrVariable(options, "sslmode", "PGSSLMODE").empty() ||
                        !ValueOrVariable(options, "service", "PGSERVICE").empty();
  std::vector<ConnectionParameters> hosts;
  for (const std::string& host : Hosts(options)) {
    ConnectionParameters one = common;
    const size_t n = hosts.size();
    if (!names.empty()) one.emplace_back("host", Nth(names, n));
    if (!addresses.empty()) one.emplace_back("hostaddr", host);
    if (!ports.empty()) one.emplace_back("port", Nth(ports, n));
    if (!IsOnThisMachine(host) && !says_ssl) one.emplace_back("sslmode", "verify-full");
    hosts.push_back(std::move(one));
  }
  return hosts;
}

absl::StatusOr<std::string> DescribeConninfo(const std::string& conninfo) {
  ASSIGN_OR_RETURN(const Options options, Parse(conninfo));
  std::vector<std::string> parts;
  for (const char* const keyword : {"service", "host", "hostaddr", "port", "dbname", "user"}) {
    const std::string value = ValueOf(options, keyword);
    // A whole connection string may stand for the database, with a password.
    if (value.empty() || absl::StrContains(value, "=") || absl::StrContains(value, "://")) continue;
    parts.push_back(absl::StrCat(keyword, "=", NameToText(value)));
  }
  return parts.empty() ? "the default server" : absl::StrJoin(parts, " ");
}

}  // namespace backup::storage
