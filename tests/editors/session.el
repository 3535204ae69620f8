;;; session.el --- a session with dape, told as JSON  -*- lexical-binding: t -*-

;; Batch mode: emacs --batch -l settings.el -l session.el, with the map, a line of it, the prompt, and the file
;; for what was seen in the environment.
;; What a user sees is read from dape's buffers.

(require 'json)

(defvar stops 0)
(add-hook 'dape-stopped-hook (lambda () (setq stops (1+ stops))))

(defun wait-until (what predicate)
  (let ((deadline (+ (float-time) 60)))
    (while (not (funcall predicate))
      (when (> (float-time) deadline)
        (error "No %s; the console says: %s" what
               (if (get-buffer "*dape-repl*") (text-of "*dape-repl*") "nothing")))
      (accept-process-output nil 0.02))))

(defun text-of (name)
  (with-current-buffer name (buffer-substring-no-properties (point-min) (point-max))))

(defun lines-of (name)
  (mapcar #'string-trim (split-string (text-of name) "\n" t)))

(defun stop-of (action)
  "What is seen at the stop that ACTION leads to."
  (let ((before stops))
    (dolist (name '("*dape-info Stack*" "*dape-info Scope*"))
      (when (get-buffer name)
        (with-current-buffer name (let ((inhibit-read-only t)) (erase-buffer)))))
    (funcall action)
    (wait-until "stop" (lambda () (> stops before)))
    (wait-until "stack and scope"
                (lambda () (and (get-buffer "*dape-info Stack*") (get-buffer "*dape-info Scope*")
                                (string-match-p "prompt" (text-of "*dape-info Stack*"))
                                (not (member (text-of "*dape-info Scope*")
                                             '("" "No scope information available."))))))
    (list (cons 'stack (vconcat (lines-of "*dape-info Stack*")))
          (cons 'scope (vconcat (lines-of "*dape-info Scope*"))))))

(defun send (command)
  (lambda () (funcall command (dape--live-connection 'stopped))))

(find-file (getenv "MAP"))
(run-hooks 'post-command-hook) ; where eglot starts the language server
(wait-until "language server" #'eglot-current-server)
(let ((mode major-mode) (outline (vconcat (mapcar #'car (imenu--make-index-alist t)))) line by-line by-name inside back finished)
  (forward-line (1- (string-to-number (getenv "LINE"))))
  (dape-breakpoint-toggle)
  (setq by-line (stop-of (lambda ()
                           (dape (apply #'dape--config-eval
                                        (dape--config-from-string
                                         (format "llm-dap :prompt %S :generation (:max_new_tokens 4)"
                                                 (getenv "PROMPT"))))))))
  (setq line (format "%s:%d" (buffer-name (window-buffer)) (with-current-buffer (window-buffer) (line-number-at-pos))))
  (dape-breakpoint-remove-all)
  (llm-dap-break "*.layers.3.mlp")
  (setq by-name (stop-of (send #'dape-continue)))
  (setq inside (stop-of (send #'dape-step-in)))
  (setq back (stop-of #'llm-dap-back))
  (llm-dap-break)
  (setq finished (stop-of (send #'dape-continue)))
  (dape-continue (dape--live-connection 'stopped))
  (wait-until "end" (lambda () (not (dape--live-connection 'parent t))))
  (let ((coding-system-for-write 'no-conversion))
    (write-region (json-serialize
                   (list (cons 'mode (symbol-name mode)) (cons 'outline outline) (cons 'at line)
                         (cons 'byLine by-line) (cons 'byName by-name) (cons 'inside inside) (cons 'back back)
                         (cons 'finished finished) (cons 'console (text-of "*dape-repl*"))))
                  nil (getenv "SEEN"))))
