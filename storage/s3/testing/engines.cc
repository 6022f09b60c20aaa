#include "storage/s3/testing/engines.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "glog/logging.h"
#include "storage/s3/testing/fake_store.h"

namespace backup::storage::s3 {
namespace {

constexpr char kBucket[] = "backup-test";

const Clock& TestClock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace

std::string Engine::endpoint() const { return absl::StrCat("http://127.0.0.1:", port); }

std::vector<Engine> EnginesForTests() {
  static FakeStore& fake = *new FakeStore({"fakekey", "fakesecret", ""});
  std::vector<Engine> engines = {{"fake", fake.port(), {"fakekey", "fakesecret", ""}}};
  const char* const listed = std::getenv("TEST_S3_ENGINES");
  for (const absl::string_view one :
       absl::StrSplit(listed == nullptr ? "" : listed, ';', absl::SkipWhitespace())) {
    const std::vector<std::string> words = absl::StrSplit(one, ' ', absl::SkipWhitespace());
    Engine engine;
    CHECK(words.size() == 4 && absl::SimpleAtoi(words[1], &engine.port))
        << "TEST_S3_ENGINES: not NAME PORT ACCESS_KEY SECRET_KEY";
    engine.name = words[0];
    engine.credentials = {words[2], words[3], ""};
    engines.push_back(std::move(engine));
  }
  return engines;
}

std::unique_ptr<CredentialsSource> FixedCredentials(const Credentials& credentials) {
  CredentialsOptions options;
  options.environment = [credentials](const char* name) -> const char* {
    const absl::string_view variable = name;
    if (variable == "AWS_ACCESS_KEY_ID") return credentials.access_key.c_str();
    if (variable == "AWS_SECRET_ACCESS_KEY") return credentials.secret_key.c_str();
    return nullptr;
  };
  return CredentialsSource::Open(std::move(options)).value();
}

S3BlobStore::Options TestOptions(const Engine& engine, const std::string& endpoint) {
  S3BlobStore::Options options;
  options.client.location =
      ParseLocation(
          absl::StrCat("s3://", kBucket, "/test/", absl::BytesToHexString(crypto::RandomBytes(8))),
          endpoint.empty() ? engine.endpoint() : endpoint, "us-east-1", "path")
          .value();
  options.client.retries.first_wait = absl::Milliseconds(5);
  options.client.retries.max_wait = absl::Milliseconds(100);
  return options;
}

void MakeTestBucket(const Engine& engine) {
  const auto client =
      S3Client::Open(TestOptions(engine).client, FixedCredentials(engine.credentials), TestClock())
          .value();
  const absl::Status made = client->Call({.operation = Operation::kPut}).status();
  const absl::Status listed =
      client->Call({.operation = Operation::kList, .query = {{"list-type", "2"}}}).status();
  CHECK(listed.ok()) << engine.name << ": " << made << ", " << listed;
}

}  // namespace backup::storage::s3
