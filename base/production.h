#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

// What --production refuses to start with (docs/adr/0045-production.md). All here is thread-safe.
namespace backup {

// Whose a file or folder is, and what others may do with it.
struct FileRights {
  uid_t owner = 0;
  mode_t mode = 0;  // Its permission bits.
};

// A file that holds a secret, and how it was found.
struct SecretFile {
  struct Folder {
    std::string path;
    FileRights rights;
  };

  std::string flag;  // What names it: "--tls_key_file".
  std::string path;
  std::optional<FileRights> rights;  // None: it is not there, or cannot be looked at.
  // Where it could be exchanged for another one: the folder that is named, and, through symbolic
  // links, that of the file itself. Without those that are not there.
  std::vector<Folder> folders = {};
  // Of systemd's credentials, which an access control list may give to the unit's user; that shows
  // as rights of the group.
  bool group_may_read = false;
};

// Looks at the file.
SecretFile FindSecretFile(const std::string& flag, const std::string& path);

// Whether the file is in the folder or below it, wherever symbolic links lead; also if either is
// not there.
bool IsInFolder(const std::string& path, const std::string& folder);

// What there is to decide about. The defaults are fit for production.
struct ProductionSettings {
  bool debug = false;
  bool corrupt_checksums = false;  // Asked for by its own flag.
  bool insecure_grpc = false;
  // Where gRPC is served or called, as the flag says it: "--listen=127.0.0.1:50051".
  std::string address;
  bool address_is_local = true;  // Loopback, or a unix socket.
  bool has_tls = false;          // gRPC is over TLS.
  std::string tls_flag;          // What would make it so.
  bool reflection = false;
  bool master_key_is_beside_data = false;
  bool allow_master_key_beside_data = false;
  std::vector<SecretFile> secrets = {};
  uid_t user = 0;  // As whom the program runs.
};

// What is not fit for production, each with its flag and what to do; nothing if all is.
std::vector<std::string> ProductionFaults(const ProductionSettings& settings);

// InvalidArgument with all of them in one line.
absl::Status CheckProduction(const ProductionSettings& settings);

}  // namespace backup
