#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "content/dictionary.h"
#include "content/store_keys.h"
#include "content/stored_content.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/open_storage.h"
#include "services/backupctl/pack_files.h"

namespace backup::ctl {

// What opens an encrypted blob: master keys in files or from a command, `sources`, whose file of
// generations is key.generations beside the master key's file if it is not named and is there; or
// `key_hex`: the master key for sealed content and packs, the client's session key (as the
// service's log has it) for a client's ciphertext. Both empty: only plain content can be read.
struct KeyChoice {
  KeySources sources;
  std::string key_hex;
};

// Opens a blob's file as it lies in a store, in any of its forms; if it is a pack, a file of which
// it tells, whose chunks may be in `more` (OpenPackFile()). `version_id` is that of the file, for
// packs that tell of several; 0: the only one. Errors: NotFound for a missing file or part;
// InvalidArgument if the blob needs a key or a version that was not given; reasons BLOB_DAMAGED,
// KEY_MISSING.
absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenBlobFile(const std::string& path,
                                                                     const MorePacks& more,
                                                                     int64_t version_id,
                                                                     const KeyChoice& choice);

// A data directory that is open.
struct DataDir {
  Storage storage;
  std::unique_ptr<handlers::KeyKeeper> keys;
  std::unique_ptr<content::StoreKeys> store_keys;
  std::unique_ptr<content::Dictionaries> dictionaries;
};

// Opens the data directory of a service that does not run; makes nothing. What `sources` do not
// name is that in the directory; `key_hex` is not looked at. NotFound if there is no catalog or
// key; Aborted if a service holds it; FailedPrecondition if its schema is newer.
// `blobs` says where blobs are that are in an object store, as far as that is not known; they are
// only read.
absl::StatusOr<DataDir> OpenDataDir(const std::string& data_dir, const KeyChoice& choice,
                                    const BlobsOptions& blobs = {});

// Opens a version's content. `client` is an id or a name, and `file` a name, in the API's text
// form; version 0 means the newest verified one. `data_dir` must outlive it. Reasons
// CLIENT_NOT_FOUND, FILE_NOT_FOUND, VERSION_NOT_FOUND, BLOB_DAMAGED.
absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenStoredFile(const DataDir& data_dir,
                                                                       const std::string& client,
                                                                       const std::string& file,
                                                                       int64_t version_id);

}  // namespace backup::ctl
