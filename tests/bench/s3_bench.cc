// What an object store takes and gives by plain libcurl, and what our blob store makes of it, in
// one run: s3-bench --help. One object in parts of 16 MiB, four on their way at once, is the
// yardstick; beside it one blob of that size, and as many blobs of 64 MiB as it takes, which is how
// contents are kept.

#include <curl/curl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "storage/background_commit.h"
#include "storage/s3/s3_blob_store.h"

DEFINE_string(blobs, "", "s3://BUCKET[/PREFIX] to use, in a bucket that is there");
DEFINE_string(s3_endpoint, "", "The store: http://HOST:PORT");
DEFINE_string(s3_region, "us-east-1", "Its region");
DEFINE_int32(mebibytes, 1024, "How much is stored and read, each time");
DEFINE_int32(rounds, 3, "How often; the medians are told");

namespace backup::storage::s3 {
namespace {

constexpr size_t kPlainPartSize = size_t{16} << 20;
constexpr size_t kPlainInFlight = 4;
constexpr int64_t kPackSize = int64_t{64} << 20;
constexpr double kMebibyte = 1 << 20;

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The bytes that are stored: the same 64 MiB of random ones again and again.
class Content {
 public:
  absl::string_view At(int64_t offset, size_t size) const {
    const size_t at = static_cast<size_t>(offset % kPackSize);
    return absl::string_view(bytes_).substr(at, std::min(size, bytes_.size() - at));
  }

 private:
  const std::string bytes_ = crypto::RandomBytes(kPackSize);
};

// Of so much of the content, in pieces as they come from the network.
class ContentSource final : public ByteSource {
 public:
  ContentSource(const Content& content, int64_t size) : content_(content), left_(size) {}
  absl::StatusOr<absl::string_view> Read() override {
    const absl::string_view piece =
        content_.At(offset_, static_cast<size_t>(std::min<int64_t>(left_, kPieceSize)));
    offset_ += static_cast<int64_t>(piece.size());
    left_ -= static_cast<int64_t>(piece.size());
    return piece;
  }

 private:
  const Content& content_;
  int64_t offset_ = 0;
  int64_t left_;
};

// ---- Plain libcurl: as little as does it, checks included. ----

struct Transfer {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  absl::string_view body;
  size_t sent = 0;
  std::string answer;
  size_t answer_size = 0;
  std::string etag;
};

class Plain {
 public:
  Plain(Location location, Credentials credentials)
      : location_(std::move(location)), credentials_(std::move(credentials)) {}
  ~Plain() { ::curl_multi_cleanup(multi_); }

  void Upload(const Content& content, int64_t size, const std::vector<std::string>& digests) {
    const std::string begun = Run("POST", {{"uploads", ""}}, "", std::string(kEmptySha256));
    const std::string id = Between(begun, "<UploadId>", "</UploadId>");
    std::vector<std::string> etags;
    RunAll(
        static_cast<int>(size / static_cast<int64_t>(kPlainPartSize)),
        [&](int part) {
          const int64_t offset = part * static_cast<int64_t>(kPlainPartSize);
          return Make("PUT", {{"partNumber", absl::StrCat(part + 1)}, {"uploadId", id}},
                      content.At(offset, kPlainPartSize), digests[static_cast<size_t>(part)], "");
        },
        [&](const Transfer& done) { etags.push_back(done.etag); });
    std::string parts = "<CompleteMultipartUpload>";
    for (size_t i = 0; i < etags.size(); ++i) {
      absl::StrAppend(&parts, "<Part><PartNumber>", i + 1, "</PartNumber><ETag>", etags[i],
                      "</ETag></Part>");
    }
    absl::StrAppend(&parts, "</CompleteMultipartUpload>");
    Run("POST", {{"uploadId", id}}, parts, HexSha256(parts));
  }

  void Download(int64_t size) {
    int64_t got = 0;
    RunAll(
        static_cast<int>(size / static_cast<int64_t>(kPlainPartSize)),
        [&](int part) {
          const int64_t offset = part * static_cast<int64_t>(kPlainPartSize);
          return Make("GET", {}, "", std::string(kEmptySha256),
                      absl::StrCat("Range: bytes=", offset, "-",
                                   offset + static_cast<int64_t>(kPlainPartSize) - 1));
        },
        [&](const Transfer& done) { got += static_cast<int64_t>(done.answer_size); });
    CHECK_EQ(got, size);
  }

  void Delete() { Run("DELETE", {}, "", std::string(kEmptySha256)); }

  static std::string HexSha256(absl::string_view bytes) {
    std::string digest(32, '\0');
    CHECK_EQ(
        ::EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                     nullptr, ::EVP_sha256(), nullptr),
        1);
    return absl::BytesToHexString(digest);
  }

 private:
  static std::string Between(const std::string& text, const std::string& begin,
                             const std::string& end) {
    const size_t from = text.find(begin);
    CHECK(from != std::string::npos) << text;
    return text.substr(from + begin.size(), text.find(end) - from - begin.size());
  }

  static size_t OnRead(char* out, size_t size, size_t count, void* data) {
    auto& transfer = *static_cast<Transfer*>(data);
    const absl::string_view part = transfer.body.substr(transfer.sent, size * count);
    std::copy(part.begin(), part.end(), out);
    transfer.sent += part.size();
    return part.size();
  }

  static size_t OnContent(char* in, size_t size, size_t count, void* data) {
    auto& transfer = *static_cast<Transfer*>(data);
    // A range's place is there, as that of who keeps it is.
    if (transfer.answer.size() < kPlainPartSize) transfer.answer.resize(kPlainPartSize);
    std::copy(in, in + size * count,
              transfer.answer.begin() + static_cast<std::ptrdiff_t>(transfer.answer_size));
    transfer.answer_size += size * count;
    return size * count;
  }

  static size_t OnHeader(char* in, size_t size, size_t count, void* data) {
    const absl::string_view line(in, size * count);
    if (absl::EqualsIgnoreCase(line.substr(0, 5), "etag:"))
      static_cast<Transfer*>(data)->etag = std::string(absl::StripAsciiWhitespace(line.substr(5)));
    return size * count;
  }

  std::unique_ptr<Transfer> Make(const std::string& method, const Query& query,
                                 absl::string_view body, const std::string& digest,
                                 const std::string& header) {
    auto transfer = std::make_unique<Transfer>();
    transfer->body = body;
    CURL* const easy = transfer->easy = ::curl_easy_init();
    const std::string url = UrlOf(location_, absl::StrCat(location_.prefix, "plain"), query);
    ::curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    ::curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer.get());
    ::curl_easy_setopt(easy, CURLOPT_AWS_SIGV4,
                       absl::StrCat("aws:amz:", location_.region, ":s3").c_str());
    ::curl_easy_setopt(easy, CURLOPT_USERNAME, credentials_.access_key.c_str());
    ::curl_easy_setopt(easy, CURLOPT_PASSWORD, credentials_.secret_key.c_str());
    ::curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 512L << 10);
    ::curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
    if (method == "PUT") {
      ::curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
      ::curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body.size()));
    } else if (method == "POST") {
      ::curl_easy_setopt(easy, CURLOPT_POST, 1L);
      ::curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    } else if (method == "DELETE") {
      ::curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    }
    ::curl_easy_setopt(easy, CURLOPT_READFUNCTION, &OnRead);
    ::curl_easy_setopt(easy, CURLOPT_READDATA, transfer.get());
    ::curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &OnContent);
    ::curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
    ::curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &OnHeader);
    ::curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer.get());
    curl_slist* headers =
        ::curl_slist_append(nullptr, absl::StrCat("x-amz-content-sha256: ", digest).c_str());
    headers = ::curl_slist_append(headers, "Content-Type: application/octet-stream");
    if (!header.empty()) headers = ::curl_slist_append(headers, header.c_str());
    transfer->headers = headers;
    ::curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    return transfer;
  }

  // `make` says which transfers there are; `done` is told of all in their order.
  void RunAll(int count, const std::function<std::unique_ptr<Transfer>(int)>& make,
              const std::function<void(const Transfer&)>& done) {
    std::vector<std::unique_ptr<Transfer>> transfers;
    int finished = 0;
    while (finished < count) {
      while (static_cast<int>(transfers.size()) < count &&
             transfers.size() - static_cast<size_t>(finished) < kPlainInFlight) {
        transfers.push_back(make(static_cast<int>(transfers.size())));
        CHECK_EQ(::curl_multi_add_handle(multi_, transfers.back()->easy), CURLM_OK);
      }
      int running = 0;
      ::curl_multi_perform(multi_, &running);
      int left = 0;
      bool any = false;
      while (const CURLMsg* const message = ::curl_multi_info_read(multi_, &left)) {
        Finish(*message);
        any = true;
        ++finished;
      }
      if (!any) ::curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
    for (const auto& transfer : transfers) done(*transfer);
  }

  void Finish(const CURLMsg& message) {
    CURL* const easy = message.easy_handle;
    Transfer* transfer = nullptr;
    long status = 0;
    ::curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    ::curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    CHECK(message.data.result == CURLE_OK && status / 100 == 2)
        << ::curl_easy_strerror(message.data.result) << ", HTTP " << status << ": "
        << transfer->answer.substr(0, std::min<size_t>(transfer->answer_size, 500));
    ::curl_multi_remove_handle(multi_, easy);
    ::curl_easy_cleanup(easy);
    ::curl_slist_free_all(transfer->headers);
    // What was got is somebody's and goes on its way.
    transfer->answer.resize(std::min<size_t>(transfer->answer_size, 64 << 10));
    transfer->answer.shrink_to_fit();
  }

  std::string Run(const std::string& method, const Query& query, absl::string_view body,
                  const std::string& digest) {
    std::string answer;
    RunAll(
        1, [&](int) { return Make(method, query, body, digest, ""); },
        [&](const Transfer& done) { answer = done.answer; });
    return answer;
  }

  const Location location_;
  const Credentials credentials_;
  CURLM* const multi_ = ::curl_multi_init();
};

// ---- Our blob store. ----

BlobId NewId() { return *BlobId::FromBytes(crypto::RandomBytes(BlobId::kSize)); }

// Blobs of `blob_size`, each committed while the next one comes, as uploads do it.
std::vector<BlobId> PutAll(S3BlobStore& store, const Content& content, int64_t size,
                           int64_t blob_size) {
  std::vector<BlobId> ids;
  BackgroundCommit commit;
  for (int64_t at = 0; at < size; at += blob_size) {
    ids.push_back(NewId());
    ContentSource source(content, std::min(blob_size, size - at));
    auto staged = store.Stage(ids.back(), source, blob_size);
    CHECK(staged.ok()) << staged.status();
    const absl::Status committed = commit.Finish();
    CHECK(committed.ok()) << committed;
    commit.Begin(*std::move(staged));
  }
  const absl::Status committed = commit.Finish();
  CHECK(committed.ok()) << committed;
  return ids;
}

void ReadAll(const S3BlobStore& store, const std::vector<BlobId>& ids, int64_t size) {
  std::string piece(kPieceSize, '\0');
  int64_t got = 0;
  for (const BlobId& id : ids) {
    const auto blob = store.Open(id);
    CHECK(blob.ok()) << blob.status();
    for (int64_t at = 0; at < (*blob)->size_bytes(); at += std::ssize(piece)) {
      const absl::Status read = (*blob)->ReadAt(at, {piece.data(), piece.size()});
      CHECK(read.ok()) << read;
      got += std::ssize(piece);
    }
  }
  CHECK_EQ(got, size);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Row {
  std::string name;
  std::vector<double> upload = {};  // MiB/s
  std::vector<double> download = {};
};

void Print(const Row& row, const Row& yardstick) {
  const double up = Median(row.upload);
  const double down = Median(row.download);
  std::cout << absl::StrFormat("%-28s %8.1f %5.0f %% %10.1f %5.0f %%\n", row.name, up,
                               100 * up / Median(yardstick.upload), down,
                               100 * down / Median(yardstick.download));
}

int Run() {
  const int64_t size = int64_t{FLAGS_mebibytes} << 20;
  CHECK(size > 0 && size % kPackSize == 0) << "--mebibytes is a multiple of 64";
  const auto location = ParseLocation(FLAGS_blobs, FLAGS_s3_endpoint, FLAGS_s3_region, "path");
  CHECK(location.ok()) << location.status();
  CredentialsOptions from;
  from.environment = [](const char* name) { return std::getenv(name); };
  auto credentials = CredentialsSource::Open(from);
  CHECK(credentials.ok()) << credentials.status();
  Plain plain(*location, *(*credentials)->Get());
  const SystemClock clock;
  S3BlobStore::Options options;
  options.client.location = *location;
  auto store = S3BlobStore::Open(options, *std::move(credentials), clock);
  CHECK(store.ok()) << store.status();

  const Content content;
  std::vector<std::string> digests;
  for (int64_t at = 0; at < size; at += static_cast<int64_t>(kPlainPartSize))
    digests.push_back(Plain::HexSha256(content.At(at, kPlainPartSize)));
  Row yardstick{"plain libcurl, one object"};
  std::vector<std::pair<Row, int64_t>> ours = {{Row{"one blob"}, size},
                                               {Row{"blobs of 64 MiB"}, kPackSize}};
  const double mebibytes = static_cast<double>(size) / kMebibyte;
  for (int round = 0; round < FLAGS_rounds; ++round) {
    yardstick.upload.push_back(mebibytes / Seconds([&] { plain.Upload(content, size, digests); }));
    yardstick.download.push_back(mebibytes / Seconds([&] { plain.Download(size); }));
    plain.Delete();
    for (auto& [row, blob_size] : ours) {
      std::vector<BlobId> ids;
      row.upload.push_back(mebibytes /
                           Seconds([&] { ids = PutAll(**store, content, size, blob_size); }));
      row.download.push_back(mebibytes / Seconds([&] { ReadAll(**store, ids, size); }));
      for (const BlobId& id : ids) CHECK((*store)->Delete(id).ok());
    }
  }
  std::cout << absl::StrFormat("%-28s %8s %7s %10s %7s   (MiB/s, of the yardstick)\n", "", "upload",
                               "", "download", "");
  Print(yardstick, yardstick);
  for (const auto& [row, blob_size] : ours) Print(row, yardstick);
  return 0;
}

}  // namespace
}  // namespace backup::storage::s3

int main(int argc, char** argv) {
  gflags::SetUsageMessage(
      "what an object store takes and gives, and what our blob store makes of it");
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  return backup::storage::s3::Run();
}
