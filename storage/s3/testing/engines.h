#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/s3/credentials.h"
#include "storage/s3/s3_blob_store.h"

namespace backup::storage::s3 {

// A store that tests may use.
struct Engine {
  std::string name;  // Letters and digits.
  int port = 0;      // On 127.0.0.1, without TLS.
  Credentials credentials;

  std::string endpoint() const;
  // Whether an upload of parts is completed in the place of another object, though it should not.
  bool replaces_on_completion() const { return name == "ceph"; }
};

// One in memory, a FakeStore of the process, and those that TEST_S3_ENGINES lists: "NAME PORT
// ACCESS_KEY SECRET_KEY", with a semicolon between two.
std::vector<Engine> EnginesForTests();

// For messages of tests.
inline void PrintTo(const Engine& engine, std::ostream* out) { *out << engine.name; }

// Makes the bucket that tests use, if it is not there; dies if the engine does not answer.
void MakeTestBucket(const Engine& engine);

// Options for a store in a new prefix of that bucket; `endpoint` instead of the engine's own, if
// given. Waits are short.
S3BlobStore::Options TestOptions(const Engine& engine, const std::string& endpoint = "");

// Of these alone.
std::unique_ptr<CredentialsSource> FixedCredentials(const Credentials& credentials);

}  // namespace backup::storage::s3
