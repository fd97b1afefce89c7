"""A server for the tests of downloads, on this machine only.

It speaks plain HTTP; a stand-in for urllib's HTTPS handler takes `https://` addresses to it without
encryption. Everything else is the code that users run.
"""

import contextlib
import http.client
import http.server
import threading
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b"no such page"))
        self.send_response_only(*status if isinstance(status, tuple) else (status,))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class PlainHttps(urllib.request.HTTPSHandler):
    def https_open(self, request):
        return self.do_open(http.client.HTTPConnection, request)


@contextlib.contextmanager
def serving(monkeypatch):
    """A running server: `answers` maps path to (status, headers, body), `asked` lists paths."""
    monkeypatch.setattr(urllib.request, "HTTPSHandler", PlainHttps)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = {}, []
        server.at = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
